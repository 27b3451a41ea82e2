"""Pictures as inline SVG: lengths across are percentages, so text keeps its size on any screen.

Colours and fonts are the page's; a picture says with a title and a description what it shows.
"""
