// Chat documents as a data pipeline takes them: JSONL records -> tokens, targets and pictures.
#pragma once

#include "fusec/data/sample.h"
#include "fusec/models/chat_render.h"

namespace fusec::models {

// What a pipeline's workers call. A document that the renderer refuses (ChatDrop), or in which no
// token is supervised, is a user Error "file:line: ...", or with `drop` left out and counted by its
// reason. A line that is no document at all (io::parse_document()) is a user Error either way; the
// pipeline's own policy decides what becomes of it.
data::Render chat_samples(ChatRenderer renderer, bool drop);

}  // namespace fusec::models
