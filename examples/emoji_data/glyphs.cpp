// HarfBuzz turns a sequence into one glyph id, FreeType that id into pixels; see glyphs.h.
#include "glyphs.h"

#include <ft2build.h>
#include FT_FREETYPE_H
#include <hb.h>

#include "fusec/base/error.h"
#include "fusec/base/utf8.h"

namespace fusec::examples {

// HarfBuzz and FreeType each open the file: HarfBuzz for the substitution tables, FreeType for the
// bitmaps.
struct EmojiFont::Handles {
  FT_Library library = nullptr;
  FT_Face face = nullptr;
  hb_font_t* font = nullptr;
  hb_buffer_t* buffer = nullptr;

  ~Handles() {
    if (buffer) hb_buffer_destroy(buffer);
    if (font) hb_font_destroy(font);
    if (face) FT_Done_Face(face);
    if (library) FT_Done_FreeType(library);
  }
};

EmojiFont::EmojiFont(const std::string& path)
    : handles_(std::make_unique<Handles>()), path_(path) {
  if (FT_Init_FreeType(&handles_->library)) fail_internal("FreeType does not start");
  if (FT_New_Face(handles_->library, path.c_str(), 0, &handles_->face))
    fail_user(path + ": not a font that FreeType can read");
  if (!FT_HAS_COLOR(handles_->face) || handles_->face->num_fixed_sizes < 1)
    fail_user(path + ": has no colour bitmaps; expected a CBDT font such as NotoColorEmoji.ttf");
  if (FT_Select_Size(handles_->face, 0)) fail_user(path + ": its bitmap size cannot be selected");

  hb_blob_t* blob = hb_blob_create_from_file(path.c_str());
  hb_face_t* face = hb_face_create(blob, 0);
  handles_->font = hb_font_create(face);
  hb_face_destroy(face);
  hb_blob_destroy(blob);
  handles_->buffer = hb_buffer_create();
}

EmojiFont::~EmojiFont() = default;

io::Image EmojiFont::draw(const std::u32string& sequence) const {
  hb_buffer_t* buffer = handles_->buffer;
  hb_buffer_reset(buffer);
  hb_buffer_add_utf32(buffer, reinterpret_cast<const uint32_t*>(sequence.data()),
                      static_cast<int>(sequence.size()), 0, static_cast<int>(sequence.size()));
  hb_buffer_guess_segment_properties(buffer);
  hb_shape(handles_->font, buffer, nullptr, 0);
  unsigned count = 0;
  const hb_glyph_info_t* glyphs = hb_buffer_get_glyph_infos(buffer, &count);
  const std::string where = path_ + ": " + to_utf8(sequence);
  if (count != 1 || glyphs[0].codepoint == 0) {
    fail_user(where + " gives " + std::to_string(count) +
              " glyphs; expected exactly one (is the font as new as emoji-test.txt?)");
  }
  FT_Face face = handles_->face;
  if (FT_Load_Glyph(face, glyphs[0].codepoint, FT_LOAD_COLOR))
    fail_user(where + " has no readable bitmap");
  const FT_Bitmap& bitmap = face->glyph->bitmap;
  if (bitmap.pixel_mode != FT_PIXEL_MODE_BGRA || bitmap.width == 0 || bitmap.rows == 0)
    fail_user(where + " is not a colour bitmap");

  io::Image image = io::solid(static_cast<int>(bitmap.width), static_cast<int>(bitmap.rows),
                              255, 255, 255);
  for (unsigned y = 0; y < bitmap.rows; ++y) {
    const uint8_t* bgra = bitmap.buffer + static_cast<ptrdiff_t>(y) * bitmap.pitch;
    uint8_t* rgb = &image.rgb[size_t{3} * bitmap.width * y];
    for (unsigned x = 0; x < bitmap.width; ++x, bgra += 4, rgb += 3) {
      // FreeType's colours are already multiplied by alpha.
      const int white = 255 - bgra[3];
      rgb[0] = static_cast<uint8_t>(bgra[2] + white);
      rgb[1] = static_cast<uint8_t>(bgra[1] + white);
      rgb[2] = static_cast<uint8_t>(bgra[0] + white);
    }
  }
  return io::pad_to_square(image);
}

}  // namespace fusec::examples
