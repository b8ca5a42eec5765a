"""The state folder: snapshots of earlier runs, and what each of them found."""
