// For tests: .npy files, written without the code that reads them.
#pragma once

#include <fstream>
#include <map>
#include <string>

#include "scute/base/error.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// As numpy.save writes it: version 1, C order, data at a multiple of 64.
inline void write_npy(const std::string& path, const Tensor& tensor) {
  static const std::map<DType, std::string> types = {
      {DType::boolean, "|b1"}, {DType::u8, "|u1"},  {DType::i8, "|i1"},
      {DType::i16, "<i2"},     {DType::i32, "<i4"}, {DType::i64, "<i8"},
      {DType::f16, "<f2"},     {DType::f32, "<f4"}, {DType::f64, "<f8"}};
  std::string dims;
  for (const int64_t n : tensor.shape()) dims += std::to_string(n) + ",";
  std::string text = "{'descr': '" + types.at(tensor.dtype()) +
                     "', 'fortran_order': False, 'shape': (" + dims + "), }";
  text.resize((text.size() + 11 + 63) / 64 * 64 - 11, ' ');  // 10 bytes before it, a newline after
  const auto length = static_cast<uint16_t>(text.size() + 1);
  std::ofstream file(path, std::ios::binary);
  file.write("\x93NUMPY\x01\x00", 8).write(reinterpret_cast<const char*>(&length), 2);
  file << text << '\n';
  file.write(reinterpret_cast<const char*>(tensor.bytes().data()),
             static_cast<std::streamsize>(tensor.bytes().size()));
  if (!file.flush()) fail(path, "a file to write", "an error");
}

}  // namespace scute
