"""The loop of every engine that recognises segments; a model brings `recogniser.SegmentModel`."""
