"""The database that an enterprise AI system stands on: migrations, and a typed face for each domain.

Importing the package imports nothing else, so that the migration engine starts at once and runs on
Python 3.8 with nothing but a PostgreSQL driver installed.
"""

__version__ = "0.1.0"
