// A step whose loss or gradients are not finite: the trainer skips it, counts it, names the
// culprit, and goes on as if the step had not been.
#include <doctest/doctest.h>

#include <limits>

#include "fusec/models/trainer.h"
#include "small_model.h"

namespace fusec::models {
namespace {

// Every byte of the parameters and states of a training step.
std::string persistent(const Executable& exe) {
  std::string all;
  for (const PlanBuffer& b : exe.plan().buffers) {
    if (b.cls != BufferClass::parameter && b.cls != BufferClass::state) continue;
    std::string bytes(b.type.bytes(), '\0');
    exe.read(b.name, bytes.data(), bytes.size());
    all += bytes;
  }
  return all;
}

TEST_CASE("a NaN weight: the step is skipped, named, and does not count") {
  for (Sentry sentry : {Sentry::guard, Sentry::check}) {
    CAPTURE(static_cast<int>(sentry));
    TrainerOptions options;
    options.model = small_config();
    options.rows = 2;
    options.compile.sentry = sentry;
    CaptionTrainer trainer(options, small_tokenizer()), untouched(options, small_tokenizer());
    std::vector<data::CaptionedImage> items = {picture("red box", 8, 1), picture("blue", 8, 2)};
    CaptionedItems list = {&items[0], &items[1]};
    for (CaptionTrainer* t : {&trainer, &untouched}) CHECK(!t->step(list, 1e-3).skipped);

    const std::string name = "trunk.0.mlp.down.weight";
    std::vector<float> good = trainer.training().get<float>(name), bad = good;
    bad[5] = std::numeric_limits<float>::quiet_NaN();
    trainer.training().set(name, bad);
    std::string before = persistent(trainer.training());
    StepResult result = trainer.step(list, 1e-3);
    CHECK(result.skipped);
    CHECK(trainer.skipped() == 1);
    CHECK(persistent(trainer.training()) == before);
    INFO(result.culprit);
    CHECK(result.culprit.find("parameter \"" + name + "\"") == 0);
    CHECK(result.culprit.find("nan at element 5") != std::string::npos);
    CHECK(result.culprit.find("models/nn.cpp:") != std::string::npos);

    // The moments' corrections follow the steps that counted, so both go on in the same bits.
    trainer.training().set(name, good);
    for (CaptionTrainer* t : {&trainer, &untouched}) CHECK(!t->step(list, 1e-3).skipped);
    CHECK(persistent(trainer.training()) == persistent(untouched.training()));
    CHECK(trainer.skipped() == 1);
  }
}

}  // namespace
}  // namespace fusec::models
