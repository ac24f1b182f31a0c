#include "statistics.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>

namespace fusec::examples {
namespace {

std::string format(const char* form, ...) __attribute__((format(printf, 1, 2)));
std::string format(const char* form, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, form);
  std::vsnprintf(text, sizeof text, form, arguments);
  va_end(arguments);
  return text;
}

double per(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
}

// Ranges end at powers of two; each bar is its share of the documents.
std::string histogram(const Lengths& lengths) {
  std::string text = "\ntokens a document\n";
  constexpr int kBar = 50;
  const int64_t longest = lengths.tokens_of.empty() ? 0
                                                    : *std::max_element(lengths.tokens_of.begin(),
                                                                        lengths.tokens_of.end());
  for (int64_t begin = 1, end = 16; begin <= longest; begin = end, end *= 2) {
    const auto count = std::count_if(lengths.tokens_of.begin(), lengths.tokens_of.end(),
                                     [&](int64_t n) { return n >= begin && n < end; });
    const double share = per(count, lengths.documents);
    const int bar = count > 0 ? std::max(1, static_cast<int>(kBar * share + 0.5)) : 0;
    text += format("%6lld..%-6lld %7lld  %5.1f%%  ", static_cast<long long>(begin),
                   static_cast<long long>(end - 1), static_cast<long long>(count), 100 * share) +
            std::string(static_cast<size_t>(bar), '#') + "\n";
  }
  return text;
}

int64_t at_share(std::vector<int64_t> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
}

}  // namespace

Lengths measure(const std::vector<Conversation>& conversations,
                const models::ChatRenderer& renderer) {
  Lengths lengths;
  lengths.by_kind.resize(kKinds);
  lengths.by_images.resize(kMostImages + 1);
  for (const Conversation& conversation : conversations) {
    const models::Rendered rendered =
        renderer.render(conversation.document, conversation.document.id);
    ++lengths.documents;
    lengths.turns += static_cast<int64_t>(conversation.turns.size());
    lengths.images += static_cast<int64_t>(rendered.images.size());
    lengths.tokens += static_cast<int64_t>(rendered.tokens.size());
    lengths.supervised += rendered.supervised_tokens();
    lengths.tokens_of.push_back(static_cast<int64_t>(rendered.tokens.size()));
    ++lengths.by_images.at(rendered.images.size());
    for (const Turn& turn : conversation.turns) ++lengths.by_kind[static_cast<size_t>(turn.kind)];
  }
  return lengths;
}

std::string table(const std::vector<std::pair<std::string, Lengths>>& sets) {
  std::string text = format("%-22s", "");
  for (const auto& [name, lengths] : sets) text += format(" %12s", name.c_str());
  auto row = [&](const std::string& name, auto value) {
    text += format("\n%-22s", name.c_str());
    for (const auto& [set, lengths] : sets) text += value(lengths);
  };
  auto whole = [](int64_t n) { return format(" %12lld", static_cast<long long>(n)); };
  auto share = [](double n) { return format(" %12.2f", n); };
  row("documents", [&](const Lengths& l) { return whole(l.documents); });
  row("turns", [&](const Lengths& l) { return whole(l.turns); });
  row("  a document", [&](const Lengths& l) { return share(per(l.turns, l.documents)); });
  row("images", [&](const Lengths& l) { return whole(l.images); });
  for (size_t n = 0; n <= kMostImages; ++n)
    row("  documents with " + std::to_string(n),
        [&](const Lengths& l) { return whole(l.by_images[n]); });
  row("tokens", [&](const Lengths& l) { return whole(l.tokens); });
  row("  supervised, %",
      [&](const Lengths& l) { return share(100 * per(l.supervised, l.tokens)); });
  row("  a document, mean", [&](const Lengths& l) { return share(per(l.tokens, l.documents)); });
  row("  median", [&](const Lengths& l) { return whole(at_share(l.tokens_of, 0.5)); });
  row("  99 of 100 at most", [&](const Lengths& l) { return whole(at_share(l.tokens_of, 0.99)); });
  row("  longest", [&](const Lengths& l) { return whole(at_share(l.tokens_of, 1)); });
  text += "\nturns by kind";
  for (size_t kind = 0; kind < kKinds; ++kind)
    row(std::string("  ") + name_of(static_cast<Kind>(kind)),
        [&](const Lengths& l) { return whole(l.by_kind[kind]); });
  text += "\n";
  return sets.empty() ? text : text + histogram(sets[0].second);
}

}  // namespace fusec::examples
