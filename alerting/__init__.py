"""From transition to people: the life of an alert, its journal, and who hears of it."""
