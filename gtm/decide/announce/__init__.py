"""What a speaker announces of each service, and what the guard lets it withdraw. Pure; time is an argument."""
