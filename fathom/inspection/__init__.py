"""Looking inside a run: `fathom inspect`. What is looked for lives in `perception.inspection`."""
