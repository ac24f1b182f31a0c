// The orientation of a picture, from the Exif block of its file.
#pragma once

#include <string_view>

#include "fusec/io/image.h"

namespace fusec::io {

// 1 to 8 (Exif 2.32, tag 0x0112): where the stored first row and column belong. `block` is what
// stands in an APP1 marker. 1, as stored, where it is no Exif block, says nothing or is damaged.
int exif_orientation(std::string_view block);

// The picture as it is to be seen.
Image oriented(Image image, int orientation);

}  // namespace fusec::io
