// Stored models on a GPU beside what transformers computed from the same weights.
#include <cstdio>

#include "fixture.h"
#include "fusec/models/model_check.h"

namespace fusec::models {
namespace {

TEST_CASE("import on a GPU: every family computes what transformers does") {
  for (const char* name : {"llama", "llama3", "linear", "mistral", "qwen2", "qwen3", "smollm2",
                           "clip", "siglip", "gguf/model.gguf"}) {
    CAPTURE(name);
    const std::string model = tests::fixture(name);
    const std::string folder = model.ends_with(".gguf") ? tests::fixture("gguf") : model;
    try {
      const CheckResult r =
          check_model_file(ModelFile(model), folder + "/reference.safetensors", {.device = "cuda"});
      CHECK(r.relative_error <= r.tolerance);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::device) throw;
      std::printf("[SKIP] %s\n", e.what());
      return;
    }
  }
}

}  // namespace
}  // namespace fusec::models
