// chat_data: the pictures of emoji_data -> conversations about them, for chat_sft:
//   OUT/train/*.jsonl, OUT/train/images/, OUT/val/*.jsonl, OUT/val/images/, OUT/tokenizer.json
// Held-out pictures are in OUT/val alone. Paths of images are relative to their .jsonl. The
// tokenizer is trained on the training texts and has the special tokens of the template `plain`
// and of images.
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <set>

#include "command_line.h"
#include "fusec/base/error.h"
#include "fusec/io/file.h"
#include "fusec/models/bpe_trainer.h"
#include "fusec/models/chat_render.h"
#include "generate.h"
#include "statistics.h"

namespace fusec::examples {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string pictures = "data/emoji", out;
  GenerateOptions generate;
  int shards = 4, vocab = 2048, image_tokens = 4;
};

void create_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail_user(folder.string() + ": cannot be created: " + error.message());
}

models::BpeTokenizer train_tokenizer(const std::vector<Conversation>& conversations, int vocab) {
  models::BpeTrainOptions options{.vocab_size = vocab};
  options.specials = models::ChatTemplate::named("plain").specials();
  options.specials.emplace_back("<|image|>");
  options.specials.emplace_back("<|endoftext|>");
  models::BpeTrainer trainer(options);
  std::vector<std::string> texts;
  for (const Conversation& conversation : conversations)
    for (const io::Message& message : conversation.document.messages)
      for (const io::Part& part : message.parts)
        if (part.type != io::Part::Type::image) texts.push_back(part.value);
  trainer.count(texts);
  return trainer.train();
}

std::string shard_name(size_t number) {
  char name[32];
  std::snprintf(name, sizeof name, "%05zu.jsonl", number);
  return name;
}

// Documents go to shards by turns. Shards that an earlier run left beyond them would be read along.
void write_shards(const fs::path& folder, const std::vector<Conversation>& conversations,
                  int shards) {
  std::error_code error;
  for (size_t k = static_cast<size_t>(shards); fs::remove(folder / shard_name(k), error); ++k) {
  }
  std::vector<std::vector<io::Document>> documents(static_cast<size_t>(shards));
  for (size_t i = 0; i < conversations.size(); ++i)
    documents[i % documents.size()].push_back(conversations[i].document);
  for (size_t k = 0; k < documents.size(); ++k)
    io::write_documents((folder / shard_name(k)).string(), documents[k]);
}

void copy_images(const Options& options, const fs::path& folder,
                 const std::vector<Conversation>& conversations) {
  std::set<std::string> paths;
  for (const Conversation& conversation : conversations)
    for (const io::Message& message : conversation.document.messages)
      for (const io::Part& part : message.parts)
        if (part.type == io::Part::Type::image) paths.insert(part.value);
  create_folder(folder / "images");
  for (const std::string& path : paths)
    io::write_file((folder / path).string(),
                   io::read_file((fs::path(options.pictures) / path).string()));
}

void run(const Options& options) {
  const auto start = std::chrono::steady_clock::now();
  const PictureSets pictures = load_pictures(options.pictures);
  const ChatData data = generate(pictures, options.generate);
  const fs::path out(options.out);
  for (const auto& [name, conversations, shards] :
       {std::tuple{"train", &data.train, options.shards}, std::tuple{"val", &data.validation, 1}}) {
    create_folder(out / name);
    copy_images(options, out / name, *conversations);
    write_shards(out / name, *conversations, shards);
  }
  const models::BpeTokenizer tokenizer = train_tokenizer(data.train, options.vocab);
  tokenizer.save((out / "tokenizer.json").string());

  const models::ChatRenderer renderer(models::ChatTemplate::named("plain"), tokenizer,
                                      {.image_tokens = options.image_tokens, .image = "<|image|>"});
  std::printf("%s", table({{"train", measure(data.train, renderer)},
                           {"val", measure(data.validation, renderer)}})
                        .c_str());
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::printf("\ntokens with a vocabulary of %d and %d tokens an image\nwritten to %s in %.1f s\n",
              tokenizer.vocab_size(), options.image_tokens, options.out.c_str(), seconds.count());
}

}  // namespace
}  // namespace fusec::examples

int main(int argc, char** argv) {
  using namespace fusec;
  examples::Options options;
  CLI::App app(
      "Writes conversations about the pictures of emoji_data: training and validation "
      "documents as JSONL shards with their images, and a tokenizer.");
  app.allow_extras();
  app.add_option("--pictures", options.pictures, "Folder that emoji_data wrote")
      ->capture_default_str();
  app.add_option("--out", options.out, "Folder to write to, created if needed; must be given");
  app.add_option("--documents", options.generate.train, "Conversations for training")
      ->check(CLI::Range(1, 10000000))
      ->capture_default_str();
  app.add_option("--val-documents", options.generate.validation, "Conversations for validation")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--shards", options.shards, "Files of training documents")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  app.add_option("--seed", options.generate.seed, "Equal seeds give equal files")
      ->capture_default_str();
  app.add_option("--vocab", options.vocab, "Tokens of the tokenizer, at most")
      ->check(CLI::Range(300, 65536))
      ->capture_default_str();
  app.add_option("--image-tokens", options.image_tokens,
                 "Tokens that an image counts for in the table")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  return examples::run_program("chat_data", [&] {
    try {
      app.parse(argc, argv);
    } catch (const CLI::CallForHelp& help) {
      return app.exit(help);
    } catch (const CLI::ParseError& error) {
      fail_user(error.what());
    }
    examples::refuse_unknown(app);
    if (options.out.empty()) fail_user("--out is required: the folder to write conversations to");
    examples::run(options);
    return 0;
  });
}
