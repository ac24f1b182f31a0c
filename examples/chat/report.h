// What `chat` says about model and speed; on stderr.
#pragma once

#include "fusec/models/chat_model.h"
#include "fusec/models/text_writer.h"

namespace fusec::examples {

// Sizes, how weights are held, the template, the device, the time since `main` began.
void print_model(const models::ChatModel& model, double seconds);

// "[prompt 31 tokens, 12 of 43 from the cache, 120 tokens/s; ...]"
void print_statistics(const models::Answer& answer, const models::Generator& generator);

// Why an answer ended, where that is not its own end.
void print_end(const models::Answer& answer, const models::Generator& generator);

}  // namespace fusec::examples
