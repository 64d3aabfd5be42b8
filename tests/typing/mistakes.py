"""What mypy must find in a user's program: a surface of nothing but Any would let all of it pass."""

from xlenet import SGD, Conv2D, LeNet5, Linear, MaxPool2D, Sequential
from xlenet.checkpoint import save_model
from xlenet.data import load
from xlenet.schedules import one_cycle
from xlenet.training import best_epoch, fit

Linear("3", 2)  # error: arg-type
Conv2D(1, 6)  # error: call-arg
Conv2D(1, 6, "five")  # error: arg-type
Conv2D(1, 6, 5, stride=(1, 2, 3))  # error: arg-type
Conv2D(1, 6, 5, padding=0.5)  # error: arg-type
Conv2D(1, 6, 5, rng="seed")  # error: arg-type
Conv2D(1, 6, 5, lowring="rows")  # error: call-arg
misspelt = MaxPool2D(2).forwrad  # error: attr-defined
LeNet5(28).train().size + "1"  # error: operator
SGD(LeNet5(), momentum="0.9")  # error: arg-type
Sequential(fc=3)  # error: arg-type
fit(LeNet5(), None, optimizer=SGD)  # error: arg-type
epoch = best_epoch([]).epoch  # error: union-attr
one_cycle("half")  # error: arg-type
save_model("model.safetensors", None, {})  # error: arg-type
load(3)  # error: arg-type
