"""Losses: functions of flat rows (one a trained token) that give one value a row."""
