"""What every room needs: files written whole, JSON read field by field, settings, timing, memory, the machine."""
