"""Print what Amazon's service model says of StartStreamTranscription, as JSON.

Run it with the Python of an environment that holds aws-sdk-transcribe-streaming.
"""

import json
from importlib.metadata import version
from typing import Any

from aws_sdk_transcribe_streaming import models
from aws_sdk_transcribe_streaming._private import schemas

HEADER, REQUIRED = "smithy.api#httpHeader", "smithy.api#required"


def traits(member: Any) -> dict[str, Any]:
    return {str(trait.id): trait.document_value for trait in member.traits.values()}


def headers(schema: Any) -> dict[str, Any]:
    """Each header: the type of its value, and whether it must be there."""
    return {
        traits(member)[HEADER]: {
            "type": member.member_target.shape_type.name.lower(),
            "required": REQUIRED in traits(member),
        }
        for member in schema.members.values()
        if HEADER in traits(member)
    }


STRUCTURES = {
    "TranscriptEvent": schemas.TRANSCRIPT_EVENT,
    "Transcript": schemas.TRANSCRIPT,
    "Result": schemas.RESULT,
    "Alternative": schemas.ALTERNATIVE,
    "Item": schemas.ITEM,
}
ENUMS = {
    "media-encoding": models.MediaEncoding,
    "vocabulary-filter-method": models.VocabularyFilterMethod,
    "partial-results-stability": models.PartialResultsStability,
    "transcript-format": models.TranscriptFormat,
    "Item.Type": models.ItemType,
}

print(
    json.dumps(
        {
            "package": f"aws-sdk-transcribe-streaming {version('aws-sdk-transcribe-streaming')}",
            "request": headers(schemas.START_STREAM_TRANSCRIPTION_INPUT),
            "response": headers(schemas.START_STREAM_TRANSCRIPTION_OUTPUT),
            "events": sorted(schemas.TRANSCRIPT_RESULT_STREAM.members),
            "structures": {
                name: {
                    member: target.member_target.shape_type.name.lower()
                    for member, target in schema.members.items()
                }
                for name, schema in STRUCTURES.items()
            },
            "enums": {name: [value.value for value in kind] for name, kind in ENUMS.items()},
        },
        indent=1,
    )
)
