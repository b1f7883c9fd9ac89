// The tensors that a quantized matrix becomes in a checkpoint.
#pragma once

#include <string>
#include <vector>

#include "scute/io/scratch_file.h"
#include "scute/quantize/weight.h"

namespace scute {

/// Appends the tensors that LinearTensors reads under `name`: 8 bit: `weight`, `weight_scale`; 4
/// bit: `weight_packed`, `weight_shape`, `weight_scale` (f16), perhaps `weight_channel_scale`.
void store_weight(const std::string& name, const QuantizedWeight& weight,
                  std::vector<NamedTensor>& to);

/// The tensors of a matrix that comes some outputs at a time: each as it would be had the matrix
/// come at once.
class StoredRows {
 public:
  /// scratch: where the large ones lie; null: in memory.
  StoredRows(int64_t outputs, ScratchFile* scratch) : outputs_(outputs), scratch_(scratch) {}

  /// Of outputs from `first` on: what store_weight() appends, or floats; the same names each time.
  void add(int64_t first, std::vector<NamedTensor> some);
  /// Once all outputs came.
  std::vector<NamedTensor> take();

 private:
  /// A tensor of which some outputs came.
  struct Growing {
    std::string name;
    DType dtype;
    Shape shape;
    Tensor memory;  ///< bytes; empty: in the file
    int64_t offset = 0;
  };
  bool on_disk(int64_t bytes) const;
  Growing begin(const NamedTensor& some) const;

  int64_t outputs_;
  ScratchFile* scratch_;
  std::vector<Growing> growing_;
  std::vector<NamedTensor> whole_;
};

}  // namespace scute
