// Unicode normalization form C.
#pragma once

#include <string>
#include <string_view>

namespace scute {

/// `text`, which is valid UTF-8, in form NFC: `text` itself when a glance shows that it is, else a
/// copy in `storage`. Time n·log n at worst, also for long runs of combining marks.
std::string_view nfc(std::string_view text, std::string& storage);

}  // namespace scute
