"""Real servers in throw-away directories, each stopped by its pid."""
