"""What runs inside a sandbox: ``supervisor.py`` and what it imports from its own folder.

These files need nothing but Python >= 3.9, and import little: a sandbox starts in the time that they take.
"""
