// The tensors of a checkpoint in whichever container they come.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "scute/io/input.h"
#include "scute/io/torch_zip.h"
#include "scute/tensor/weights.h"

namespace scute {

/// The weight files of a model folder, in reading order: model.safetensors, or the shards that
/// model.safetensors.index.json lists, or pytorch_model.bin (or its index); else the only file of
/// another name (.safetensors, .bin, .pt, .pth, .ckpt), the only other index, or a complete set of
/// shards without one. Error naming what was looked for when there is none, or which there are when
/// several could be meant.
std::vector<std::string> checkpoint_files(const std::string& folder);
/// Whether checkpoint_files finds some.
bool holds_checkpoint(const std::string& folder);

struct Checkpoint {
  Weights weights;
  std::vector<std::string> remarks;  ///< what is unusual about files and names, a sentence each
};

/// All tensors of those files (`folder` may also be one such file). A shard that lacks what the
/// index says, or holds more, is an error; a copy of a listed tensor is dropped. A .bin or .pt may
/// hold the dictionary itself or under a key ("model", "state_dict", …), beside anything else;
/// dictionaries in it are flattened, names joined by dots. What wrappers put before every name is
/// dropped (wrapper_prefix).
/// `usual_key`: under which the weights are expected, without a remark.
Checkpoint open_checkpoint(const std::string& folder, InputFiles& files,
                           std::string_view usual_key = "");
Checkpoint open_checkpoint(const std::string& folder);
/// The same without remarks.
Weights read_checkpoint(const std::string& folder, InputFiles& files);
Weights read_checkpoint(const std::string& folder);

/// "module.", "_orig_mod.", "model." or several of them: what DataParallel, torch.compile and
/// Lightning put before every name; "" when a name goes without.
std::string wrapper_prefix(std::span<const std::string> names);
/// "every name begins with PREFIX, which was dropped".
std::string prefix_remark(const std::string& prefix);

/// What a value is in a message: "None, no tensor under this name", "an object of class X", ….
std::string no_tensor_text(const TorchValue& value);

}  // namespace scute
