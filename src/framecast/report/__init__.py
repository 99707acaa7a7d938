"""The report: every table, figure and clip of the study in one HTML file that opens offline."""
