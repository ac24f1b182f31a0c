// A JSONL file of captioned images -> decoded samples of one size, in memory.
#include "fusec/data/captions.h"

#include <exception>
#include <filesystem>
#include <thread>

#include "fusec/base/error.h"
#include "fusec/io/documents.h"
#include "fusec/io/pixels.h"

namespace fusec::data {
namespace {

// The one image and the one assistant text of a document.
struct CaptionParts {
  std::string image_path, caption;
};

CaptionParts caption_parts(const io::Document& document, const std::string& place) {
  int images = 0, captions = 0;
  CaptionParts result;
  for (const io::Message& message : document.messages) {
    for (const io::Part& part : message.parts) {
      if (part.type == io::Part::Type::image) {
        ++images;
        result.image_path = part.value;
      } else if (message.role == "assistant") {
        ++captions;
        result.caption = part.value;
      }
    }
  }
  if (images != 1 || captions != 1) {
    fail_user(place + ": " + std::to_string(images) + " images and " + std::to_string(captions) +
              " assistant texts; a captioned image has exactly one of each");
  }
  return result;
}

}  // namespace

std::vector<CaptionedImage> load_captions(const std::string& jsonl_path, int size) {
  if (size < 1 || size > io::kMaxImageSide) {
    fail_user(jsonl_path + ": image size " + std::to_string(size) + "; expected 1 to " +
              std::to_string(io::kMaxImageSide));
  }
  const std::vector<io::Document> documents = io::read_documents(jsonl_path);
  if (documents.empty()) {
    fail_user(jsonl_path +
              ": holds no documents; expected one JSON object a line (is the data set "
              "empty, or still being written?)");
  }
  const std::filesystem::path folder = std::filesystem::path(jsonl_path).parent_path();

  std::vector<CaptionedImage> items(documents.size());
  auto load = [&](size_t i) {
    const io::Document& document = documents[i];
    std::string place = jsonl_path + ":" + std::to_string(document.line);
    if (!document.id.empty()) place += " (id \"" + document.id + "\")";
    CaptionParts parts = caption_parts(document, place);
    try {
      const std::string path = (folder / parts.image_path).string();
      const io::Image image = io::read_image(path, io::decode_options(io::ImageFit::pad, size));
      items[i] = {io::square(image, io::ImageFit::pad, size), std::move(parts.caption),
                  document.category, document.id};
    } catch (Error& error) {
      error.add_note("in " + place);
      throw;
    }
  };

  // Each thread stops at its first error; the earlier of the two is the first of the file.
  constexpr size_t kThreads = 2;
  struct Failure {
    size_t document = 0;
    std::exception_ptr error;
  };
  Failure failures[kThreads];
  auto work = [&](size_t thread) {
    for (size_t i = thread; i < documents.size(); i += kThreads) {
      try {
        load(i);
      } catch (...) {
        failures[thread] = {i, std::current_exception()};
        return;
      }
    }
  };
  {
    std::jthread second([&] { work(1); });
    work(0);
  }
  const Failure* first = nullptr;
  for (const Failure& failure : failures) {
    if (failure.error && (!first || failure.document < first->document)) first = &failure;
  }
  if (first) std::rethrow_exception(first->error);
  return items;
}

std::vector<CaptionedImage> blank(std::vector<CaptionedImage> items) {
  for (CaptionedImage& item : items) item.image.rgb.assign(item.image.rgb.size(), 255);
  return items;
}

}  // namespace fusec::data
