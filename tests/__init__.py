"""The tests, room by room; they run against the installed packages."""
