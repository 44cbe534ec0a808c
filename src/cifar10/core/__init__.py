"""What every stage uses: parameters, errors, the form of the data, files."""
