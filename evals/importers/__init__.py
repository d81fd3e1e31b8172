"""Public outcome data in its authors' formats -> the uniform table. `pointsman import --help` lists the formats."""
