"""The user's own programs as submitting sees them: arguments, copies of code, sweep files."""
