"""What people did with films: ratings as sessions, and turns of dialogues in which films are recommended."""
