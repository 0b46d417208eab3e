"""The build of the files that the function `functions/pages` serves: the console and the API reference."""
