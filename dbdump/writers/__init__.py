"""Writers: where finished dumps are stored."""
