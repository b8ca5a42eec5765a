"""An analysis in words and pictures: one view model, one renderer per format."""
