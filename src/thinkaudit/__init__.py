"""thinkaudit: is a reasoning model safe, in what it says and in what it thinks?"""

__version__ = "0.1.0"
