// Files to captions that fit the model; see dataset.h.
#include "dataset.h"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>
#include <set>

#include "fusec/base/hash.h"
#include "fusec/base/nearest.h"

namespace fusec::examples {
namespace {

using Items = std::vector<data::CaptionedImage>;

Items load(const RunOptions& o, const char* name) {
  std::string path = o.data + "/" + name + ".jsonl";
  if (!std::filesystem::exists(path)) {
    fail_user(
        fmt::format("{} not found: make the data with emoji_data --out {}, or name its "
                    "folder with --data",
                    path, o.data));
  }
  Items items = data::load_captions(path, static_cast<int>(o.trainer.model.vision.image));
  return o.blank ? data::blank(std::move(items)) : items;
}

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(text.find(',', begin), text.size());
    if (end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

void keep_categories(Dataset& data, const std::vector<std::string>& wanted) {
  std::set<std::string> known;
  for (const auto& item : data.train) known.insert(item.category);
  for (const std::string& name : wanted) {
    if (!known.count(name)) {
      fail_user("unknown category \"" + name + "\"" + suggest(name, {known.begin(), known.end()}));
    }
  }
  auto unwanted = [&](const data::CaptionedImage& item) {
    return std::find(wanted.begin(), wanted.end(), item.category) == wanted.end();
  };
  std::erase_if(data.train, unwanted);
  for (HeldOut& set : data.held_out) std::erase_if(set.items, unwanted);
}

}  // namespace

Dataset load_dataset(const RunOptions& o) {
  Dataset data;
  data.train = load(o, "train");
  data.held_out.push_back(
      {"val_tones", "unseen skin tones of emoji seen in training", load(o, "val_tones")});
  data.held_out.push_back(
      {"val_unseen", "whole emoji never seen in training", load(o, "val_unseen")});
  std::vector<std::string> wanted = split_list(o.categories);
  if (!wanted.empty()) keep_categories(data, wanted);

  std::vector<std::string> captions;
  for (const auto& item : data.train) captions.push_back(item.caption);
  data.tokenizer.train(captions, o.min_count);

  auto length = [&](const data::CaptionedImage& item) {
    return models::tokens_in_row(item.caption, data.tokenizer, o.trainer.model);
  };
  data.sequence = o.sequence;
  if (data.sequence == 0) {
    for (const auto& item : data.train) data.sequence = std::max(data.sequence, length(item));
    data.sequence = (data.sequence + 3) / 4 * 4;
  }
  auto too_long = [&](const data::CaptionedImage& item) { return length(item) > data.sequence; };
  data.dropped += static_cast<int64_t>(std::erase_if(data.train, too_long));
  for (HeldOut& set : data.held_out) {
    data.dropped += static_cast<int64_t>(std::erase_if(set.items, too_long));
    if (set.items.empty())
      fail_user(set.name + " is empty: choose more --categories or a longer --seq");
  }
  if (data.train.empty()) fail_user("no caption to train on: choose a longer --seq");
  return data;
}

uint64_t hash(const Dataset& data) {
  uint64_t hash = static_cast<uint64_t>(data.sequence);
  auto add = [&](std::string_view text) { hash = hash_combine(hash, hash_text(text)); };
  auto add_all = [&](const std::vector<data::CaptionedImage>& items) {
    for (const auto& item : items) {
      add({reinterpret_cast<const char*>(item.image.rgb.data()), item.image.rgb.size()});
      for (const std::string* text : {&item.caption, &item.category, &item.id}) add(*text);
    }
  };
  add_all(data.train);
  for (const HeldOut& set : data.held_out) {
    add(set.name);
    add_all(set.items);
  }
  return hash;
}

models::CaptionedItems pointers(const std::vector<data::CaptionedImage>& items) {
  models::CaptionedItems list;
  for (const auto& item : items) list.push_back(&item);
  return list;
}

}  // namespace fusec::examples
