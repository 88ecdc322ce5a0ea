"""Compares two float32 .npy files:  compare_npy.py GOT.npy WANTED.npy [TOLERANCE [DISTANCE]]

Passes if the shapes are equal and |got - wanted| <= TOLERANCE * max|wanted| everywhere (2e-5 unless given; 0 asks for equal bits), and, with
DISTANCE, ||got - wanted|| <= DISTANCE * ||wanted|| in the 2-norm.
Says what the largest difference is and where. Python's own library is enough."""
import array
import ast
import math
import sys


def read(path):
    with open(path, "rb") as file:
        magic = file.read(8)
        if magic[:6] != b"\x93NUMPY":
            sys.exit(f"{path}: not an .npy file")
        header_size = int.from_bytes(file.read(2 if magic[6] == 1 else 4), "little")
        header = ast.literal_eval(file.read(header_size).decode("latin1"))
        if header["descr"] != "<f4" or header["fortran_order"]:
            sys.exit(f"{path}: expected C-ordered float32, found {header}")
        values = array.array("f")
        values.frombytes(file.read())
    count = 1
    for size in header["shape"]:
        count *= size
    if len(values) != count:
        sys.exit(f"{path}: {len(values)} values for shape {header['shape']}")
    return header["shape"], values


def main():
    if len(sys.argv) not in (3, 4, 5):
        sys.exit(__doc__)
    (got_shape, got), (wanted_shape, wanted) = read(sys.argv[1]), read(sys.argv[2])
    tolerance = float(sys.argv[3]) if len(sys.argv) > 3 else 2e-5
    if got_shape != wanted_shape:
        sys.exit(f"{sys.argv[1]}: expected shape {wanted_shape}, found {got_shape}")
    scale = max(map(abs, wanted), default=0.0)
    worst, at = 0.0, 0
    for index, (left, right) in enumerate(zip(got, wanted)):
        apart = abs(left - right)
        if not apart <= worst:  # a NaN is never in order
            worst, at = apart, index
            if apart != apart:
                break
    print(f"largest difference {worst:.3g} at {at} ({worst / scale if scale else worst:.2g} of the largest value)")
    if not worst <= tolerance * scale:
        sys.exit(f"{sys.argv[1]}: more than {tolerance:g} of the largest value {scale:g}: {got[at]} where {wanted[at]} was expected")
    if len(sys.argv) > 4:
        distance, size = (math.fsum(x * x for x in xs) ** 0.5 for xs in ((a - b for a, b in zip(got, wanted)), wanted))
        print(f"2-norm of the difference {distance:.3g} ({distance / size if size else distance:.2g} of the 2-norm)")
        if not distance <= float(sys.argv[4]) * size:
            sys.exit(f"{sys.argv[1]}: more than {sys.argv[4]} of the 2-norm {size:g}")


main()
