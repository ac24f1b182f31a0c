// Decides and checks the subsets; see split.h. The check is written from the rules, not from the
// decision, so that a slip in one shows against the other.
#include "split.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "fusec/base/hash.h"

namespace fusec::examples {
namespace {

// Uniform in [0, 1), a function of the text alone.
double draw(const std::string& text, uint64_t purpose) {
  return static_cast<double>(hash_text(text, purpose) >> 11) * 0x1p-53;
}
constexpr uint64_t kUnseenDraw = 1, kTonesDraw = 2;

// base -> the smallest base that it shares a picture with, directly or through others.
std::map<std::string, std::string> join_by_picture(const std::vector<SplitItem>& items) {
  std::map<std::string, std::string> parent;
  for (const SplitItem& item : items) parent[item.base] = item.base;
  auto root = [&](std::string base) {
    while (parent[base] != base) base = parent[base];
    return base;
  };
  std::map<std::string, std::string> first_with_picture;
  for (const SplitItem& item : items) {
    const auto [known, added] = first_with_picture.emplace(item.picture, item.base);
    if (added) continue;
    std::string a = root(item.base), b = root(known->second);
    if (a != b) parent[std::max(a, b)] = std::min(a, b);
  }
  for (auto& [base, joined] : parent) joined = root(base);
  return parent;
}

// What training keeps of one emoji.
struct Kept {
  int toned = 0, untoned = 0;
  bool can_lose_toned() const { return toned >= 2 && toned - 1 + untoned >= 2; }
};

}  // namespace

const char* name_of(Subset subset) {
  switch (subset) {
    case Subset::train: return "train";
    case Subset::val_tones: return "val_tones";
    case Subset::val_unseen: return "val_unseen";
  }
  return "";
}

std::vector<Subset> split(const std::vector<SplitItem>& items, const SplitShares& shares) {
  const std::map<std::string, std::string> joined = join_by_picture(items);
  std::vector<Subset> subsets(items.size(), Subset::train);
  std::map<std::string, Kept> kept;
  std::map<std::string, int> train_pictures;
  std::vector<std::pair<double, size_t>> candidates;
  for (size_t i = 0; i < items.size(); ++i) {
    const SplitItem& item = items[i];
    if (draw(joined.at(item.base), kUnseenDraw) < shares.unseen) {
      subsets[i] = Subset::val_unseen;
      continue;
    }
    ++(item.toned ? kept[item.base].toned : kept[item.base].untoned);
    ++train_pictures[item.picture];
    const double drawn = draw(item.id, kTonesDraw);
    if (item.toned && drawn < shares.tones) candidates.emplace_back(drawn, i);
  }
  std::sort(candidates.begin(), candidates.end());
  for (const auto& [drawn, i] : candidates) {
    const SplitItem& item = items[i];
    if (!kept[item.base].can_lose_toned() || train_pictures[item.picture] > 1) continue;
    subsets[i] = Subset::val_tones;
    --kept[item.base].toned;
    --train_pictures[item.picture];
  }
  return subsets;
}

std::vector<std::string> check_split(const std::vector<SplitItem>& items,
                                     const std::vector<Subset>& subsets) {
  std::vector<std::string> wrong;
  if (items.size() != subsets.size()) return {"the split has another length than the items"};
  std::set<std::string> ids, train_bases, train_pictures, train_untoned;
  std::map<std::string, int> train_toned;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!ids.insert(items[i].id).second) wrong.push_back(items[i].id + " occurs twice");
    if (subsets[i] != Subset::train) continue;
    train_bases.insert(items[i].base);
    train_pictures.insert(items[i].picture);
    if (items[i].toned) ++train_toned[items[i].base];
    else train_untoned.insert(items[i].base);
  }
  for (size_t i = 0; i < items.size(); ++i) {
    const SplitItem& item = items[i];
    if (subsets[i] == Subset::train) continue;
    const std::string what = item.id + " in " + name_of(subsets[i]);
    if (train_pictures.count(item.picture)) wrong.push_back(what + ": its picture is in train");
    if (subsets[i] == Subset::val_unseen) {
      if (train_bases.count(item.base)) wrong.push_back(what + ": its emoji is in train");
      continue;
    }
    const int toned = train_toned[item.base];
    if (!item.toned) wrong.push_back(what + ": has no skin tone");
    if (toned == 0) wrong.push_back(what + ": train has no other tone of its emoji");
    if (toned < 2 && !train_untoned.count(item.base))
      wrong.push_back(what + ": train has neither its untoned emoji nor two other tones");
  }
  for (size_t i = 0; i < items.size(); ++i) {
    for (size_t k = i + 1; k < items.size() && subsets[i] != Subset::train; ++k) {
      if (items[i].base == items[k].base && subsets[k] != subsets[i] &&
          subsets[k] != Subset::train) {
        wrong.push_back(items[i].base + " is in both validation subsets");
        break;
      }
    }
  }
  return wrong;
}

}  // namespace fusec::examples
