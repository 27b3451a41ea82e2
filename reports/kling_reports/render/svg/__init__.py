"""Pictures as inline SVG: widths are percentages, so text keeps its size on any screen.

Colours and fonts are the page's; a title and a description say what a picture shows.
"""
