"""The game of Go: the rules, worlds to learn it in, and game records."""
