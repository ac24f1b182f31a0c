// A model in several safetensors files: one view by name, and every disagreement is named.
#include "fusec/io/safetensors_index.h"

#include "scratch.h"

using namespace fusec;
using tests::contains;
using tests::user_error;

namespace {

// A file of tensors of four bytes.
void shard(const std::string& path, const std::vector<std::string>& names) {
  std::vector<io::NamedType> types;
  std::vector<std::string> bytes;
  for (const std::string& name : names) {
    types.push_back({name, {{1}, f32}});
    bytes.push_back((name + "....").substr(0, 4));
  }
  io::write_safetensors(path, types, {}, [&](size_t i) -> std::string_view { return bytes[i]; });
}

struct Model {
  tests::Scratch scratch;

  Model() {
    shard(scratch / "one.safetensors", {"a", "b"});
    shard(scratch / "two.safetensors", {"c"});
  }
  // What an index that says this is refused with.
  std::string refusal(const std::string& index) {
    const std::string path = scratch.file("index.json", index);
    return user_error([&] { io::ShardedSafetensors view(path); });
  }
};

constexpr const char* kIndex =
    R"({"metadata": {"total_size": 12},
        "weight_map": {"c": "two.safetensors", "a": "one.safetensors", "b": "one.safetensors"}})";

}  // namespace

TEST_CASE("safetensors index: one view of all files") {
  Model model;
  const io::ShardedSafetensors view(model.scratch.file("index.json", kIndex));
  std::string names;
  for (const auto& [name, tensor] : view.tensors()) names += name;
  CHECK(names == "abc");
  CHECK(view.read("a") == "a...");
  CHECK(view.read("b") == "b...");
  CHECK(view.read("c") == "c...");
  CHECK(view.has("c"));
  CHECK(!view.has("d"));
  CHECK(view.tensor("c").entry.type == TensorType{{1}, f32});
  CHECK(view.tensor("c").shard->path() == model.scratch / "two.safetensors");
  CHECK(contains(user_error([&] { view.read("layer"); }), "no tensor \"layer\" among its 3"));
}

TEST_CASE("safetensors index: each type comes through with its bytes") {
  tests::Scratch scratch;
  const std::vector<io::NamedType> types = {
      {"f", {{2}, f32}}, {"h", {{2}, f16}}, {"b", {{2}, bf16}}, {"e", {{2}, f8e4m3}}};
  const std::vector<std::string> bytes = {"12345678", "abcd", "ABCD", "xy"};
  io::write_safetensors(scratch / "s", types, {},
                        [&](size_t i) -> std::string_view { return bytes[i]; });
  const io::ShardedSafetensors view(
      scratch.file("index.json", R"({"weight_map": {"f": "s", "h": "s", "b": "s", "e": "s"}})"));
  for (size_t i = 0; i < types.size(); ++i) {
    CHECK(view.tensor(types[i].name).entry.type == types[i].type);
    CHECK(view.read(types[i].name) == bytes[i]);
  }
}

TEST_CASE("safetensors index: a disagreement with the files names both") {
  Model model;
  CHECK(contains(model.refusal(R"({"weight_map": {"a": "one.safetensors", "b": "one.safetensors",
                                   "c": "three.safetensors"}})"),
                 "three.safetensors: cannot be read"));
  CHECK(contains(model.refusal(R"({"weight_map": {"z": "three.safetensors"}})"),
                 "index.json as the file of tensor \"z\""));
  CHECK(
      contains(model.refusal(R"({"weight_map": {"a": "one.safetensors", "b": "two.safetensors",
                                   "c": "two.safetensors"}})"),
               "tensor \"b\" is not in its file \"two.safetensors\", but in \"one.safetensors\""));
  CHECK(contains(model.refusal(R"({"weight_map": {"a": "one.safetensors", "b": "one.safetensors",
                                   "c": "two.safetensors", "d": "two.safetensors"}})"),
                 "tensor \"d\" is not in its file \"two.safetensors\" nor in another one"));
  CHECK(contains(model.refusal(R"({"weight_map": {"a": "one.safetensors",
                                   "c": "two.safetensors"}})"),
                 "tensor \"b\" of the file \"one.safetensors\" is not listed"));
  shard(model.scratch / "two.safetensors", {"b", "c"});
  CHECK(contains(model.refusal(kIndex),
                 "\"b\" lies in two files, \"one.safetensors\" and \"two.safetensors\""));
  model.scratch.file("two.safetensors", "short");
  const std::string message = model.refusal(kIndex);
  CHECK(contains(message, "two.safetensors is not a sound safetensors file"));
  CHECK(contains(message, "index.json as the file of tensor \"c\""));
  CHECK(contains(user_error([&] { io::ShardedSafetensors view(model.scratch / "no.json"); }),
                 "no.json: cannot be read"));
}

TEST_CASE("safetensors index: what is no index is refused with the reason") {
  auto refused = [](const std::string& text, const char* reason) {
    const std::string message = user_error([&] { io::parse_safetensors_index(text, "i.json"); });
    CHECK(contains(message, "i.json is not a sound index of safetensors files: "));
    CHECK(contains(message, reason));
  };
  refused("{", "does not parse");
  refused("[]", "it is an empty array, expected an object");
  refused("{}", "it has no \"weight_map\"");
  refused(R"({"weight_map": 3})", "\"weight_map\" is a number");
  refused(R"({"weight_map": {"a": 3}})", "the file of tensor \"a\" is a number");
  refused(R"({"weight_map": {"a": "s", "a": "s"}})", "key \"a\" stands twice");
  for (const char* name : {"", ".", "..", "../s", "/etc/s", "x/s", "s\\u0000"}) {
    refused(R"({"weight_map": {"a": ")" + std::string(name) + R"("}})",
            "needs the name of a file in the index's folder");
  }
  tests::for_each_mutation(kIndex, [](const std::string& text) {
    for (const auto& [tensor, file] : io::parse_safetensors_index(text, "i").file_of)
      CHECK(file.find('/') == std::string::npos);
  });
}
