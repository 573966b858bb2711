"""Volumes of pods. :mod:`.podvolumes` sets them up, :mod:`.payload` says what is in them, :mod:`.atomic` writes it in one step."""
