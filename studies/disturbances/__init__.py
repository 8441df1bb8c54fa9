"""Do scores of features rise with every disturbance of real images?"""
