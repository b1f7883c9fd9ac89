// Zip archives: entries are unpacked, one is changed, and an archive is made of them anew.
#include <zlib.h>

#include <algorithm>
#include <span>
#include <string_view>
#include <vector>

#include "scute/base/error.h"
#include "scute/io/zip.h"
#include "tests/fuzz/structured.h"

namespace scute::fuzz {
namespace {

struct Member {
  std::string name, content;
  bool stored = true;
};

/// Raw deflate, either way; empty when it is none.
std::string inflated(std::string_view packed, size_t size) {
  std::string out(size, '\0');
  z_stream stream{};
  if (::inflateInit2(&stream, -MAX_WBITS) != Z_OK) return {};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  ::inflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  ::inflateEnd(&stream);
  return out;
}

std::string deflated(std::string_view content) {
  std::string out(content.size() + content.size() / 100 + 64, '\0');
  z_stream stream{};
  if (::deflateInit2(&stream, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) return {};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  ::deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  return out;
}

/// Error when the file is no archive.
std::vector<Member> members_of(std::string_view file) {
  constexpr int64_t kMost = 1 << 20;
  std::vector<Member> out;
  for (const ZipEntry& entry : parse_zip(std::as_bytes(std::span(file)), "")) {
    const std::string_view packed =
        file.substr(static_cast<size_t>(entry.offset), static_cast<size_t>(entry.packed));
    if (entry.size > kMost) continue;
    out.push_back(
        {entry.name,
         entry.stored ? std::string(packed) : inflated(packed, static_cast<size_t>(entry.size)),
         entry.stored});
  }
  return out;
}

void append(std::string& to, uint64_t value, size_t bytes) {
  for (; bytes > 0; --bytes, value >>= 8) to += static_cast<char>(value);
}

/// What the local header and the directory say alike.
std::string described(const Member& member, size_t packed) {
  std::string out;
  append(out, 20, 2);  // version needed
  append(out, 0, 2);   // flags
  append(out, member.stored ? 0 : 8, 2);
  append(out, 0x00210000, 4);  // 1980-01-01
  append(out, crc32(std::as_bytes(std::span(member.content))), 4);
  append(out, packed, 4);
  append(out, member.content.size(), 4);
  append(out, member.name.size(), 2);
  append(out, 0, 2);  // extra fields
  return out;
}

std::string archive_of(const std::vector<Member>& members) {
  std::string out, directory;
  for (const Member& member : members) {
    const std::string packed = member.stored ? member.content : deflated(member.content);
    const std::string both = described(member, packed.size());
    directory += "PK\1\2";
    append(directory, 20, 2);
    directory += both;
    append(directory, 0, 2 + 2 + 2 + 4);  // comment, disk, attributes
    append(directory, out.size(), 4);
    directory += member.name;
    out += "PK\3\4" + both + member.name + packed;
  }
  const size_t offset = out.size();
  out += directory + "PK\5\6";
  append(out, 0, 4);
  append(out, members.size(), 2);
  append(out, members.size(), 2);
  append(out, directory.size(), 4);
  append(out, offset, 4);
  append(out, 0, 2);
  return out;
}

std::string mutated_content(const Member& member, Draw& draw, size_t most) {
  constexpr std::pair<std::string_view, Mutation> kEndings[] = {
      {".pkl", mutated_pickle},
      {".json", mutated_json},
      {".jsonl", mutated_json_lines},
      {".safetensors", mutated_safetensors},
  };
  for (const auto& [ending, mutation] : kEndings) {
    if (member.name.ends_with(ending) && !draw.one_in(8)) {
      return mutation(member.content, draw, most);
    }
  }
  return mutated_bytes(member.content, draw, most);
}

}  // namespace

std::string mutated_zip(std::string_view file, Draw& draw, size_t most) {
  std::vector<Member> members;
  try {
    members = members_of(file);
  } catch (const Error&) {
  }
  if (members.empty()) return mutated_bytes(file, draw, most);
  const size_t at = draw.below(members.size());
  Member& member = members[at];
  switch (draw.below(16)) {
    case 0:
      members.erase(members.begin() + static_cast<std::ptrdiff_t>(at));
      break;
    case 1:
      member.name = mutated_bytes(member.name, draw, member.name.size() + 8);
      break;
    case 2:
      std::swap(member.name, members[draw.below(members.size())].name);
      break;
    case 3:
      member.stored = !member.stored;
      break;
    case 4: {
      Member copy = member;
      copy.name = mutated_bytes(member.name, draw, member.name.size() + 8);
      members.push_back(std::move(copy));
      break;
    }
    default:
      // Pickles decide what is done with the rest, and are one entry among many.
      for (Member& one : members) {
        if (&one == &member || (one.name.ends_with(".pkl") && !draw.one_in(3))) {
          one.content = mutated_content(one, draw, most);
        }
      }
  }
  return archive_of(members);
}

}  // namespace scute::fuzz
