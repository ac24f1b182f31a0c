// Captioned pictures to the arrays that one training or evaluation step reads. A row is
//
//   position   0      1 .. N-1     N        N+1   N+2 ..  N+k    N+k+1 ..
//   token      <bos>  <image> ..   <image>  w1    w2  ..  wk     <eos>  <pad> ..
//   target     -1     -1 ..        w1       w2    w3  ..  <eos>  -1     -1 ..
//
// that is, targets are the tokens shifted by one; the model is asked for every caption token and
// <eos>, and never for an image slot or padding. Documents are not packed: a caption is short, and
// a row holds one. A config of text alone has no image slots, and its batches no pixels. Refused: a
// caption that does not fit its row (tokens_in_row() tells beforehand).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusec/data/captions.h"
#include "fusec/models/config.h"
#include "fusec/models/tokenizer.h"

namespace fusec::models {

struct CaptionBatch {
  std::vector<float> images;     // [rows, 3, S, S], 0 (white, the background) .. 4 (black)
  std::vector<int32_t> tokens;   // [rows, T]
  std::vector<int32_t> targets;  // [rows, T], -1: not supervised
  std::vector<int32_t> slots;    // [rows * N], flat position b * T + t; -1 in empty rows
  int64_t supervised = 0;        // targets that are not -1
  int64_t filled = 0;            // tokens that are not padding, image slots included
};

// Tokens that a caption takes in a row: <bos>, the image slots, the words and <eos>.
int64_t tokens_in_row(const std::string& caption, const WordTokenizer& tokenizer,
                      const VisionGptConfig& config);

// One row an item; rows past the last item are empty (padding only, no supervision, slots -1).
// User Error if there are more items than rows, an image is not S x S, or a caption does not fit.
CaptionBatch pack_captions(const std::vector<const data::CaptionedImage*>& items, int64_t rows,
                           const WordTokenizer& tokenizer, const VisionGptConfig& config);

// A batch of prompts (<bos> and image slots only): what greedy captioning starts from.
CaptionBatch pack_prompts(const std::vector<const io::Image*>& images, int64_t rows,
                          const WordTokenizer& tokenizer, const VisionGptConfig& config);

}  // namespace fusec::models
