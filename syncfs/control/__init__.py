"""One command list for everybody who controls a running share: the command line, the web page, tests."""
