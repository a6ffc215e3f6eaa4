"""One command of the command line in each module.

A module is named after its command. Its docstring's first line is the help line. It has `USAGE`, what
follows `fathom` in the help, and `run(words) -> int`, which takes the words after the command's name and
gives the exit code. Everything heavy is imported inside `run`: the help imports every module.
"""
