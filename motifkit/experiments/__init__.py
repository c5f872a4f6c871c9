"""The tables and figures of Koo & Eddy (2019), each from one command."""
