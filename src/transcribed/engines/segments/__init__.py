"""A local engine for any model that recognises single segments (`recogniser.SegmentModel`)."""
