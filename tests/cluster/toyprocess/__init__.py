"""What a toy supervisor supervises."""
