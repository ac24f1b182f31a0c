// First values of parameters, drawn by name: Philox with key = seed and stream = hash of the name.
// A parameter's start therefore depends on nothing but (name, shape, config, seed): freezing,
// reordering or adding modules never changes the others.
//
//   *.bias                          0
//   *norm*.weight                   1
//   embedding.weight                normal, 0.1    (a norm follows, so only the ratio to LR counts)
//   *.position, *.query, *.class    normal, 0.5    (as large as what a filled patch adds)
//   head.weight                     normal, 0.02   (first loss close to log(vocab))
//   *.out.weight, *.down.weight     normal, 1 / sqrt(fan_in * 2 * layers of its module): the last
//                                   matrix of each residual branch (Radford et al. 2019)
//   *.lora_a                        normal, 1 / sqrt(fan_in)
//   *.lora_b                        0
//   every other weight              normal, 1 / sqrt(fan_in)
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusec/fusec.h"
#include "fusec/models/config.h"

namespace fusec::models {

// Row-major values of the parameter, the same on every machine. A name that no rule covers is an
// internal Error.
std::vector<float> initial_value(const std::string& name, const Shape& shape,
                                 const VisionGptConfig& config, uint64_t seed);

// Writes initial_value() into every parameter of the executable, drawn by its GPU or on all cores.
// Parameters must be f32.
void init_parameters(Executable& exe, const VisionGptConfig& config, uint64_t seed);

}  // namespace fusec::models
