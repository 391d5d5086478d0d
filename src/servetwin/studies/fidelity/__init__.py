"""The scoreboard: every measured set that is found, predicted and compared."""
