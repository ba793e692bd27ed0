"""What every protocol shares: decode, validate, buffer, and write in batches; dead letters for the rest."""
